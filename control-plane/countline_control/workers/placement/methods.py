"""The methods of the service of workers that concern single workers and the placement of cameras."""
# ruff: noqa: N802  (names and arguments of the methods are gRPC's)

from countline.v1 import workers_pb2, workers_pb2_grpc
from countline_common.grpc.calls import Context
from countline_control.workers.fleet import Fleet
from countline_control.workers.forwarding import Forwarding
from countline_control.workers.lease import SchedulingLease
from countline_control.workers.messages import worker_message
from countline_control.workers.placement.messages import held_cameras, move_message, placement_message
from countline_control.workers.placement.orders import PlacementOrders, no_worker
from countline_control.workers.placement.why import explain


class PlacementMethods(workers_pb2_grpc.WorkerServiceServicer):
    """Part of `WorkerService`. Each method is forwarded if another copy schedules.

    Args:
        fleet: workers and cameras.
        orders: changes cordons.
        lease: names the copy that schedules.
        forwarding: passes calls on to it.
    """

    def __init__(self, fleet: Fleet, orders: PlacementOrders, lease: SchedulingLease, forwarding: Forwarding) -> None:
        self._fleet = fleet
        self._orders = orders
        self._lease = lease
        self._forwarding = forwarding

    async def _is_elsewhere(self, context: Context) -> bool:
        """Whether another copy answers a call."""
        raise NotImplementedError

    async def GetWorker(self, request: workers_pb2.GetWorkerRequest, context: Context) -> workers_pb2.GetWorkerResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.GetWorker(request, **how))
        view = self._fleet.worker(request.worker_id)
        if view is None:
            raise no_worker(request.worker_id)
        return workers_pb2.GetWorkerResponse(
            worker=worker_message(view),
            cameras=held_cameras(self._fleet, view.camera_ids),
            moves=[move_message(move) for move in self._fleet.cordons.moves(view.worker_id)],
        )

    async def CordonWorker(
        self, request: workers_pb2.CordonWorkerRequest, context: Context
    ) -> workers_pb2.CordonWorkerResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.CordonWorker(request, **how))
        view = await self._orders.cordon(request.worker_id, request.reason, drains=False)
        return workers_pb2.CordonWorkerResponse(worker=worker_message(view))

    async def DrainWorker(
        self, request: workers_pb2.DrainWorkerRequest, context: Context
    ) -> workers_pb2.DrainWorkerResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.DrainWorker(request, **how))
        view = await self._orders.cordon(request.worker_id, request.reason, drains=True, at_once=request.at_once)
        return workers_pb2.DrainWorkerResponse(worker=worker_message(view))

    async def UncordonWorker(
        self, request: workers_pb2.UncordonWorkerRequest, context: Context
    ) -> workers_pb2.UncordonWorkerResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.UncordonWorker(request, **how))
        return workers_pb2.UncordonWorkerResponse(worker=worker_message(await self._orders.uncordon(request.worker_id)))

    async def GetPlacement(
        self, request: workers_pb2.GetPlacementRequest, context: Context
    ) -> workers_pb2.GetPlacementResponse:
        if await self._is_elsewhere(context):
            return await self._forwarding.call(context, lambda stub, how: stub.GetPlacement(request, **how))
        placement = explain(self._fleet, request.camera_id)
        return workers_pb2.GetPlacementResponse(placement=placement_message(placement, self._lease.seen))
