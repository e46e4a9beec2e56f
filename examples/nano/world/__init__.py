"""The small world that Nano knows: what is in it, how it is asked about, and how it looks."""
