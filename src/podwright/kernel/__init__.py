"""The kernel as Python functions: mounts, namespaces, cgroups, processes.

Everything here blocks, raises OSError with the path it was about, and knows nothing of sandboxes or containers.
Callers on the event loop use asyncio.to_thread. The only ctypes of the project is in libc.py.
"""
