"""Where everything is put together and started."""
