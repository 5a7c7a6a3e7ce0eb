# SPDX-License-Identifier: Apache-2.0
"""What the tests of qimg share: a folder, the two programs, and cases as TAP."""

import argparse
import functools
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 0  # what TAP says is what counts; other than 0 is an error
ONE_IN = 7
MEMORY = '/dev/shm'
MAX_TRIES = 10
program = None


class Failure(Exception):
    pass


class Skip(Exception):
    """What is said is missing here."""


def checked(done, status):
    if status is not None and done.returncode != status:
        raise Failure(f'{" ".join(done.args)}: status {done.returncode}, not '
                      f'{status}: {done.stdout}{done.stderr}')
    return done


def run(*command, status=0):
    """status: what it has to end with; None: anything."""
    return checked(subprocess.run(command, capture_output=True, text=True,
                                 timeout=120), status)


@functools.lru_cache
def is_sanitized():
    with open(program, 'rb') as file:
        return b'__asan_init' in file.read()


def sampled(things, one_in=1):
    """
    One of so many, spread over all; and under a sanitizer, where each command takes
    ten times as long, one in ONE_IN of these. All with RINGLINE_ALL in the
    environment.
    """
    if 'RINGLINE_ALL' in os.environ:
        one_in = 1
    elif is_sanitized():
        one_in *= ONE_IN
    return itertools.islice(things, 0, None, one_in)


def qimg(*arguments, status=0):
    return run(program, *arguments, status=status)


def qemu_img(*arguments, status=0):
    """
    Again, where it could not count how fast it derives a key: its clock of CPU
    time may stand still meanwhile on a busy machine.
    """
    for _ in range(MAX_TRIES):
        done = run('qemu-img', *arguments, status=None)
        if 'Unable to get accurate CPU usage' not in done.stderr:
            break
    return checked(done, status)


def qemu_io(name, *commands, format='qcow2'):
    steps = [part for c in commands for part in ('-c', c)]
    return run('qemu-io', '-f', format, *steps, name)


def can_trace():
    if shutil.which('strace') and subprocess.run(
            ['strace', '-o', '/dev/null', 'true'], capture_output=True,
            check=False).returncode == 0:
        return True
    print('# no strace, or no right to trace: not tried')
    return False


def traced_calls(path):
    """
    What strace -f wrote, as lists of calls by process, the first process first. A
    call that another process interrupted is put together again.
    """
    calls, begun = {}, {}
    with open(path) as trace:
        for line in trace:
            process, call = line.split(None, 1)
            if half := re.match(r'(.*) <unfinished \.\.\.>$', call):
                begun[process] = half[1]
                continue
            if half := re.match(r'<\.\.\. \w+ resumed>(.*)', call, re.DOTALL):
                call = begun.pop(process) + half[1]
            calls.setdefault(process, []).append(call)
    return list(calls.values())


def expect(what, message):
    if not what:
        raise Failure(message)


def both(*arguments):
    """Same status and output of either; returns ours."""
    ours, theirs = qimg(*arguments, status=None), qemu_img(*arguments,
                                                           status=None)
    expect((ours.returncode, ours.stdout) ==
           (theirs.returncode, theirs.stdout),
           f'{" ".join(arguments)}:\n{ours.returncode}: {ours.stdout}'
           f'{ours.stderr}instead of\n{theirs.returncode}: {theirs.stdout}'
           f'{theirs.stderr}')
    return ours


def make_raw(path, size, seed=1):
    """Text, noise, written zeroes and holes, none of them aligned."""
    pick = random.Random(seed)
    with open(path, 'wb') as file:
        file.truncate(size)
        for _ in range(40):
            length = pick.choice([512, 4096, 10000, 65536, 200000])
            file.seek(pick.randrange(0, size - length))
            kind = pick.randrange(3)
            if kind == 0:
                file.write(pick.randbytes(length))
            elif kind == 1:
                file.write((b'a line of text %d\n' % length * length)[:length])
            else:
                file.write(bytes(length))


def is_clean():
    left = [n for n in os.listdir('.') if n.endswith(('.part', '.new'))]
    expect(not left, f'left behind: {left}')


def main(cases, prepare, description, clean_up=None, needs=(),
         memory=MEMORY):
    """
    Runs the cases in a folder in memory; the exit status. needs: names of paths
    that the command line has beside the program's, and whose values prepare takes.
    memory: where the folder is made, None: where temporary files are.
    """
    global program
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('qimg')
    for name in needs:
        parser.add_argument(name)
    parser.add_argument('case', nargs='*')
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.qimg)
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('1..0 # SKIP qemu-img is not installed')
        return SKIPPED
    needed = [os.path.abspath(getattr(arguments, name)) for name in needs]
    chosen = [c for c in cases
              if not arguments.case or c.__name__ in arguments.case]
    where = memory if memory and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix='ringline-qimg-',
                                     dir=where) as folder:
        os.chdir(folder)
        try:
            prepare(*needed)
            print(f'1..{len(chosen)}')
            failed = sum(not is_passed(number, case)
                         for number, case in enumerate(chosen, 1))
        except Skip as reason:
            print(f'1..0 # SKIP {reason}')
            return SKIPPED
        finally:
            os.chdir('/')
            if clean_up:
                clean_up(folder)
    return 1 if failed else 0


def is_passed(number, case):
    try:
        case()
    except Exception as failure:  # what a case did not expect fails it alone
        print(f'# {type(failure).__name__}: {failure}'.replace('\n', '\n# '))
        print(f'not ok {number} {case.__name__}', flush=True)
        return False
    print(f'ok {number} {case.__name__}', flush=True)
    return True
