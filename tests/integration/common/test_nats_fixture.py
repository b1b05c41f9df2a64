"""The server that other tests rely on keeps what it acknowledged."""

import nats
from nats.js.api import StorageType, StreamConfig
from tests.fixtures.nats import NatsServer


async def test_what_jetstream_acknowledged_is_there_after_a_kill(nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(StreamConfig(name="S", subjects=["s"], storage=StorageType.FILE))
    await client.jetstream().publish("s", b"kept")
    await client.close()
    port = nats_server.port

    await nats_server.kill()
    await nats_server.start()

    assert nats_server.port == port
    client = await nats.connect(nats_server.url)
    message = await client.jetstream().get_msg("S", 1)
    assert message.data == b"kept"
    await client.close()
