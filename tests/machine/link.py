#!/usr/bin/env python3
"""link.py MILLISECONDS NAME NAME: two network devices with a long way between them, until it is ended.

What is sent into one comes out of the other so many milliseconds later, in its order, whole and never lost: `tc netem
delay`, for kernels that have no netem. The devices can be moved to other network namespaces while this runs. Prints a line
when they are there.
"""

import collections
import fcntl
import os
import selectors
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def device(name):
    """A device whose packets are read from and written to this file descriptor."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


def carry(delay, ends):
    """Takes packets at both ends and hands each over at the other when it is due."""
    under_way = collections.deque()
    selector = selectors.DefaultSelector()
    for here, there in (ends, reversed(ends)):
        selector.register(here, selectors.EVENT_READ, there)
    while True:
        timeout = under_way[0][0] - time.monotonic() if under_way else None
        for key, _ in selector.select(timeout if timeout is None else max(timeout, 0)):
            try:
                while True:
                    packet = os.read(key.fd, 65536)
                    under_way.append((time.monotonic() + delay, key.data, packet))
            except BlockingIOError:
                pass
        while under_way and under_way[0][0] <= time.monotonic():
            _, there, packet = under_way.popleft()
            try:
                os.write(there, packet)
            except OSError:
                # A device that is down takes nothing, as a cable that is not plugged in.
                pass


delay, *names = sys.argv[1:]
ends = [device(name) for name in names]
print("ready", flush=True)
carry(float(delay) / 1000, ends)
