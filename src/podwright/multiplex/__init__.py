"""Connections that carry several byte streams: SPDY/3.1, WebSocket, and SPDY within WebSocket, on asyncio; both ends.

The daemon's streaming server and the client's helpers are built on it.
"""
