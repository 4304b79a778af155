"""PyTorch modules as problems (extra `torch`)."""
