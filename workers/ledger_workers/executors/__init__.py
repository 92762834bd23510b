"""Where handlers run: threads, the one event loop, processes of their own."""
