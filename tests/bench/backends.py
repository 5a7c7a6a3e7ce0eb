# SPDX-License-Identifier: Apache-2.0
"""The daemons that a benchmark compares, and the images they serve."""

import os
import subprocess
import time

MIB = 1 << 20
START_SECONDS = 10


class Backend:
    """A way to serve an image: its command line, pinned to one core."""

    def __init__(self, name, command):
        self.name = name
        self.command = command  # (image, format, socket) -> argv

    def start(self, image, fmt, folder, core):
        socket = os.path.join(folder, "blk.sock")
        if os.path.exists(socket):
            os.unlink(socket)
        log = open(os.path.join(folder, self.name + ".log"), "w+b")
        process = subprocess.Popen(
            ["taskset", "-c", str(core)] + self.command(image, fmt, socket),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while not os.path.exists(socket):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                process.wait()
                log.seek(0)
                raise RuntimeError(f"{self.name} does not serve {image}:\n" +
                                   log.read().decode(errors="replace"))
            time.sleep(0.01)
        log.close()
        return process, socket


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ringline(program, options):
    def command(image, fmt, socket):
        return [program, "--socket-path=" + socket, "--blk-file=" + image,
                "--format=" + fmt] + options
    return Backend("ringline", command)


def storage_daemon(name, file_options):
    def command(image, fmt, socket):
        argv = ["qemu-storage-daemon", "--blockdev",
                f"driver=file,node-name=file,filename={image}{file_options}"]
        node = "file"
        if fmt != "raw":
            argv += ["--blockdev", f"driver={fmt},node-name=disk,file=file"]
            node = "disk"
        return argv + ["--export", "vhost-user-blk,id=export,writable=on,"
                       f"node-name={node},addr.type=unix,addr.path={socket}"]
    return Backend(name, command)


PEERS = {
    "default": storage_daemon("default", ",aio=threads"),
    "best": storage_daemon("best", ",aio=native,cache.direct=on"),
}


def resident_kib(pid):
    """What is resident beside memory shared with the guest."""
    fields = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            key, _, value = line.partition(":")
            fields[key] = value
    return sum(int(fields[key].split()[0]) for key in ("RssAnon", "RssFile"))


def run(argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def make_image(kind, folder, size_mib):
    """The path of an image of one kind, made the same way for everyone.

    raw, qcow2, vmdk (monolithicSparse): every block written. empty-qcow2: nothing allocated; made anew
    at each call, since a run spends it.
    """
    path = os.path.join(folder, kind)
    full = os.path.join(folder, "raw")
    if kind == "empty-qcow2":
        if os.path.exists(path):
            os.unlink(path)
        run(["qemu-img", "create", "-f", "qcow2", path, f"{size_mib}M"])
        return path
    if not os.path.exists(full):
        block = os.urandom(MIB)
        with open(full, "wb") as out:
            for _ in range(size_mib):
                out.write(block)
    if not os.path.exists(path):
        run(["qemu-img", "convert", "-f", "raw", "-O", kind, full, path])
    return path
