"""`countline workers show|cordon|drain|uncordon|why`."""
