# SPDX-License-Identifier: Apache-2.0
"""QEMU's own virtio-net and TAP, driven without a guest.

A virtio driver in Python: registers over the qtest protocol, rings and frames
in the guest's memory, which is a shared file. It fills a ring once and makes
all of it available again and again, so that its own slowness is paid once for
256 frames and the qtest command hardly weighs on QEMU's thread.
"""

import mmap
import os
import socket
import struct
import subprocess
import time

MEMORY = 64 << 20
BAR = 0xE0000000
SLOT = 2
RING = 256
BUFFER = 4096
HEADER = 12
# VERSION_1, MRG_RXBUF, HOST_TSO4, GUEST_TSO4, GUEST_CSUM, CSUM
FEATURES = 1 << 32 | 1 << 15 | 1 << 11 | 1 << 7 | 1 << 1 | 1 << 0
RX, TX = 0, 1
PATIENCE_SECONDS = 10
# At the reset vector: cli, hlt, and again.
IDLE_BIOS = bytes(0xFFF0) + b"\xfa\xf4\xeb\xfc" + bytes(12)

# struct virtio_pci_common_cfg
(DRIVER_FEATURE_SELECT, DRIVER_FEATURE, DEVICE_STATUS, QUEUE_SELECT,
 QUEUE_SIZE, QUEUE_ENABLE, QUEUE_NOTIFY_OFF, QUEUE_DESC, QUEUE_DRIVER,
 QUEUE_DEVICE) = (8, 12, 20, 22, 24, 28, 30, 32, 40, 48)


class Queue:
    def __init__(self, at):
        self.desc = at
        self.avail = at + RING * 16
        self.used = at + RING * 16 + 4096
        self.index = 0  # of avail
        self.notify = 0


class QemuNet:
    """A running QEMU on @tap, pinned to @core; its device is ready."""

    def __init__(self, folder, tap, core):
        path = os.path.join(folder, "qtest")
        bios = os.path.join(folder, "bios")
        with open(bios, "wb") as file:
            file.write(IDLE_BIOS)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), "qemu-system-x86_64",
             "-nodefaults", "-display", "none", "-m", "64M",
             "-object", "memory-backend-memfd,id=m0,size=64M,share=on",
             "-machine", "q35,accel=tcg,memory-backend=m0", "-bios", bios,
             "-qtest", "unix:" + path, "-qtest-log", "/dev/null",
             "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,"
             "vhost=off",
             "-device", f"virtio-net-pci,netdev=n0,addr={SLOT},"
             "disable-legacy=on,romfile="],
            stdin=subprocess.DEVNULL)
        listener.settimeout(PATIENCE_SECONDS)
        self.wire, _ = listener.accept()
        self.replies = self.wire.makefile("r")
        listener.close()
        os.unlink(path)
        self.config_read(0)  # answered once the machine is there
        self.map_memory()
        self.find_registers()
        self.start()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def map_memory(self):
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if "memory-backend-memfd" in os.readlink(path):
                fd = os.open(path, os.O_RDWR)
                self.memory = mmap.mmap(fd, MEMORY)
                os.close(fd)
                return
        raise RuntimeError("QEMU's memory is not to be found")

    def command(self, *words):
        self.wire.sendall((" ".join(map(str, words)) + "\n").encode())
        answer = self.replies.readline().split()
        if not answer or answer[0] != "OK":
            raise RuntimeError(f"qtest: {words}: {answer}")
        return int(answer[1], 0) if len(answer) > 1 else 0

    def config_at(self, offset):
        self.command("outl", 0xCF8,
                     0x80000000 | SLOT << 11 | offset & 0xFC)

    def config_read(self, offset):
        self.config_at(offset)
        return self.command("inl", 0xCFC)

    def config_write(self, offset, value):
        self.config_at(offset)
        self.command("outl", 0xCFC, value)

    def find_registers(self):
        self.config_write(0x20, BAR)  # BAR 4
        self.config_write(0x24, 0)
        self.config_write(0x04, 6)  # memory, bus master
        at = self.config_read(0x34) & 0xFF
        self.common = self.notify = self.multiplier = None
        while at:
            head = self.config_read(at)
            if head & 0xFF == 9:  # vendor's: virtio 1.2, 4.1.4
                kind = head >> 24
                offset = self.config_read(at + 8)
                if kind == 1:
                    self.common = BAR + offset
                elif kind == 2:
                    self.notify = BAR + offset
                    self.multiplier = self.config_read(at + 16)
            at = head >> 8 & 0xFF

    def write(self, register, bits, value):
        width = {8: "b", 16: "w", 32: "l"}[bits]
        self.command("write" + width, self.common + register, value)

    def start(self):
        self.write(DEVICE_STATUS, 8, 0)
        self.write(DEVICE_STATUS, 8, 3)
        for half in range(2):
            self.write(DRIVER_FEATURE_SELECT, 32, half)
            self.write(DRIVER_FEATURE, 32, FEATURES >> 32 * half & 0xFFFFFFFF)
        self.write(DEVICE_STATUS, 8, 11)
        self.queues = [Queue(0x100000), Queue(0x140000)]
        for index, queue in enumerate(self.queues):
            self.set_up(index, queue)
        self.write(DEVICE_STATUS, 8, 15)

    def set_up(self, index, queue):
        self.write(QUEUE_SELECT, 16, index)
        self.write(QUEUE_SIZE, 16, RING)
        for register, address in ((QUEUE_DESC, queue.desc),
                                  (QUEUE_DRIVER, queue.avail),
                                  (QUEUE_DEVICE, queue.used)):
            self.write(register, 32, address)
            self.write(register + 4, 32, 0)
        queue.notify = self.notify + self.multiplier * self.command(
            "readw", self.common + QUEUE_NOTIFY_OFF)
        for i in range(RING):
            struct.pack_into("<H", self.memory, queue.avail + 4 + 2 * i, i)
        # No interrupts.
        struct.pack_into("<H", self.memory, queue.avail, 1)
        self.write(QUEUE_ENABLE, 16, 1)

    def used(self, queue):
        return struct.unpack_from("<H", self.memory, queue.used + 2)[0]

    def offer(self, queue, count):
        queue.index = queue.index + count & 0xFFFF
        struct.pack_into("<H", self.memory, queue.avail + 2, queue.index)

    def kick(self, index):
        self.command("writew", self.queues[index].notify, index)

    def wait_used(self, queue, wanted):
        end = time.monotonic() + PATIENCE_SECONDS
        while self.used(queue) != wanted & 0xFFFF:
            if time.monotonic() > end:
                raise TimeoutError("QEMU does not go on")

    def send(self, header, frame, seconds):
        """All of the ring again and again: frames and seconds."""
        queue = self.queues[TX]
        whole = header + frame
        for i in range(RING):
            at = (1 << 20) * 4 + i * (1 << 17)
            self.memory[at:at + len(whole)] = whole
            struct.pack_into("<QIHH", self.memory, queue.desc + 16 * i, at,
                             len(whole), 0, 0)
        began = time.monotonic()
        frames = 0
        while time.monotonic() < began + seconds:
            self.offer(queue, RING)
            self.kick(TX)
            self.wait_used(queue, queue.index)
            frames += RING
        return frames, time.monotonic() - began

    def receive(self, send_some, frame_bytes, seconds):
        """send_some(n) puts n frames on the wire; each takes as many buffers
        as it has parts of BUFFER bytes."""
        queue = self.queues[RX]
        per_frame = -(-(frame_bytes + HEADER) // BUFFER)
        batch = max(1, RING // 2 // per_frame)
        for i in range(RING):
            struct.pack_into("<QIHH", self.memory, queue.desc + 16 * i,
                             (1 << 20) * 4 + i * BUFFER, BUFFER, 2, 0)
        self.offer(queue, RING)
        self.kick(RX)
        began = time.monotonic()
        frames = 0
        while time.monotonic() < began + seconds:
            wanted = self.used(queue) + batch * per_frame
            send_some(batch)
            self.wait_used(queue, wanted)
            self.offer(queue, batch * per_frame)
            frames += batch
        return frames, time.monotonic() - began
