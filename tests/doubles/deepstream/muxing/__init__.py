"""Of the muxer: its key file, its inputs, which frames form a batch, and its output."""
