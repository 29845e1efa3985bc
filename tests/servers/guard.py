#!/usr/bin/env python3
"""The process that owns the servers of one run, so that none of them outlives it.

The runner (a test, or tests/servers/with) may end in any way, SIGKILL included. So it is not the
runner that starts servers but this process, in a session of its own, on orders that come over a
socket. When the socket closes or the runner's process is gone, it kills everything below it, takes
away what they leave behind (memory segments, mounts, the folder) and ends. It adopts what its
children leave behind (PR_SET_CHILD_SUBREAPER), so a backend whose postmaster was killed is still
found. As root it lives in a mount namespace of its own: its mounts vanish with it, in any case.

Should this process itself be killed, its servers get SIGKILL from the kernel, and the next run
takes the folder away: it finds that nobody holds the lock on it.
"""
import contextlib
import ctypes
import fcntl
import glob
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PREFIX = 'polystore-servers-'
LOCK = '.guard'
MEMORY, PLENTY = '/dev/shm', 4 << 30
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS = 0x20000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 4096, 16384, 1 << 19
IPC_RMID = 0

libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, '%s: %s' % (what, os.strerror(number)))


def encoded(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, kind, flags, options=None):
    checked(libc.mount(encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags),
                       encoded(options)), "mount '%s'" % target)


def own_mounts():
    """Root gets mounts that nobody else sees. Returns why not, or None."""
    if os.geteuid() != 0:
        return 'only root may mount'
    try:
        checked(libc.unshare(CLONE_NEWNS), 'unshare')
        mount(None, '/', None, MS_REC | MS_SLAVE)
    except OSError as error:
        return 'mounts are not permitted here: %s' % error.strerror
    return None


def process_table():
    """{pid: its parent}, of all that have not ended."""
    parents = {}
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % name, 'rb') as file:
                state, parent = file.read().rpartition(b')')[2].split()[:2]
        except OSError:
            continue
        if state not in (b'Z', b'X'):
            parents[int(name)] = int(parent)
    return parents


def descendants(pid):
    """All processes below this one, whose parents are still there."""
    parents = process_table()
    below, found = {pid}, []
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found += sorted(below)
    return found


def shared_memory_of(pids):
    """Segments of System V that these processes made and nobody is attached to."""
    found = []
    try:
        with open('/proc/sysvipc/shm') as file:
            rows = [line.split() for line in file]
    except OSError:
        return found
    head = rows[0]
    for row in rows[1:]:
        one = dict(zip(head, row))
        if int(one['cpid']) in pids and int(one['nattch']) == 0:
            found.append(int(one['shmid']))
    return found


def remove_shared_memory(pids):
    for identity in shared_memory_of(pids):
        libc.shmctl(identity, IPC_RMID, None)


def locked(path, create=False):
    """A descriptor that holds the lock, or None: somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except OSError:
        os.close(descriptor)
        return None


def top():
    """Where folders of runs lie: TMPDIR, or in memory where there is plenty, which is as good for
    servers whose processes are killed and quicker, or where the system has such things."""
    if 'TMPDIR' in os.environ:
        return tempfile.gettempdir()
    try:
        about = os.statvfs(MEMORY)
        plenty = about.f_bavail * about.f_frsize >= PLENTY and os.access(MEMORY, os.W_OK)
    except OSError:
        plenty = False
    return MEMORY if plenty else tempfile.gettempdir()


def make_folder():
    """A folder with a file whose lock says that it is in use; it lists the guard and what that
    started. It is locked before it has its name."""
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=top())
    os.chmod(folder, 0o711)
    descriptor = locked(os.path.join(folder, LOCK + '.new'), create=True)
    os.write(descriptor, b'%d\n' % os.getpid())
    os.rename(os.path.join(folder, LOCK + '.new'), os.path.join(folder, LOCK))
    return folder, descriptor


def processes_in(folder):
    """Processes that work in this folder."""
    found = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                where = os.readlink('/proc/%s/cwd' % name)
            except OSError:
                continue
            if (where + '/').startswith(folder + '/'):
                found.append(int(name))
    return found


def kill_until_none(find):
    """SIGKILL to all that find() gives, again and again, for a minute at most. Returns them."""
    seen, end = set(), time.monotonic() + 60
    while time.monotonic() < end:
        left = find()
        if not left:
            break
        seen.update(left)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return seen


def sweep():
    """Takes away what runs left whose guard was killed too."""
    for folder in glob.glob(os.path.join(MEMORY, PREFIX + '*')) + glob.glob(
            os.path.join(tempfile.gettempdir(), PREFIX + '*')):
        try:
            if os.lstat(folder).st_uid != os.geteuid() or os.path.islink(folder):
                continue
            descriptor = locked(os.path.join(folder, LOCK))
        except OSError:
            continue
        if descriptor is None:
            continue
        with open(os.path.join(folder, LOCK)) as file:
            started = {int(line) for line in file if line.endswith('\n')}
        kill_until_none(lambda: processes_in(folder))
        remove_shared_memory(started)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


class Guard:
    def __init__(self, channel, runner, lock):
        self.channel, self.runner, self.lock = channel, runner, lock
        self.exits = {}  # pid: exit code, of the children that have ended
        self.spawned = set()
        self.mounted = []
        self.waiting = b''
        self.bye = False

    # What the runner may order. Each gives the answer's value, or raises.

    def do_spawn(self, argv, env, cwd, out, uid=None, gid=None, root=None):
        """A child in a session of its own, its output added to a file."""
        def child():
            os.setsid()
            if root is not None:
                os.chroot(root)
                os.chdir(cwd)
            if uid is not None:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
            os.umask(0o077)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with open(out, 'ab') as log:
            process = subprocess.Popen(argv, env=env, cwd=cwd if root is None else '/',
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       preexec_fn=child)
        process.returncode = 0  # it is reaped here, not by subprocess
        self.spawned.add(process.pid)
        os.write(self.lock, b'%d\n' % process.pid)  # for sweep()
        return process.pid

    def do_ended(self, pid):
        """Its exit code (negative: the signal), or None while it runs."""
        return self.exits.get(pid)

    def do_signal(self, pid, number):
        """Only to what is ours: a pid that has ended may be somebody else's by now."""
        if pid not in descendants(os.getpid()):
            raise ProcessLookupError(3, 'process %d is none of ours, or has ended' % pid)
        os.kill(pid, number)

    def do_tree(self, pid):
        """The process and all below it; nothing when it has ended."""
        if pid not in descendants(os.getpid()):
            return []
        return [pid] + descendants(pid)

    def do_alive(self, pids):
        """Those of them that are ours and have not ended."""
        ours = set(descendants(os.getpid()))
        return [pid for pid in pids if pid in ours]

    def do_tmpfs(self, path, size, uid=0, gid=0):
        """Once for each path."""
        if path in self.mounted:
            return
        mount('tmpfs', path, 'tmpfs', MS_NOSUID | MS_NODEV,
              'size=%d,mode=700,uid=%d,gid=%d' % (size, uid, gid))
        self.mounted.append(path)

    def do_bind(self, source, target):
        """Once for each target; makes its last folder."""
        if target not in self.mounted:
            os.makedirs(target, exist_ok=True)
            mount(source, target, None, MS_BIND | MS_REC)
            self.mounted.append(target)

    def do_bye(self):
        self.bye = True

    # The rest is how it lives.

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.exits[pid] = os.waitstatus_to_exitcode(status)

    def answer(self, line):
        try:
            order = json.loads(line)
            value = getattr(self, 'do_' + order.pop('do'))(**order)
            reply = {'ok': value}
        except Exception as error:  # the runner is to know, whatever it is
            reply = {'error': str(error) or type(error).__name__}
        self.channel.sendall(json.dumps(reply).encode() + b'\n')

    def listen(self):
        """Takes what came; False: nobody is there any more."""
        try:
            more = self.channel.recv(65536)
        except OSError:
            return False
        if not more:
            return False
        *lines, self.waiting = (self.waiting + more).split(b'\n')
        try:
            for line in lines:
                self.reap()
                self.answer(line)
        except OSError:
            return False
        return not self.bye

    def live(self, wake):
        poll = select.poll()
        for one in (self.channel, wake, self.runner):
            poll.register(one, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake.fileno() in ready and b'\x0f' in wake.recv(4096):  # SIGTERM
                return
            self.reap()
            if self.runner in ready:
                return
            if self.channel.fileno() in ready and not self.listen():
                return

    def left(self):
        self.reap()
        return descendants(os.getpid())

    def kill_all(self):
        remove_shared_memory(self.spawned | kill_until_none(self.left))

    def unmount(self):
        for path in reversed(self.mounted):
            libc.umount2(encoded(path), 2)  # MNT_DETACH


def wake_on_signals():
    """Signals become bytes in a socket, so that none is missed between two polls."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    return reading, writing


def main(runner):
    channel = socket.socket(fileno=os.dup(0))
    try:
        watched = os.pidfd_open(runner)
    except ProcessLookupError:
        return
    wake, _kept = wake_on_signals()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sweep()
    folder, lock = make_folder()
    guard = Guard(channel, watched, lock)
    try:
        hello = {'folder': folder, 'pid': os.getpid(), 'no_mounts': own_mounts()}
        channel.sendall(json.dumps({'ok': hello}).encode() + b'\n')
        guard.live(wake)
    except OSError:  # the runner is gone already
        pass
    finally:
        guard.kill_all()
        guard.unmount()
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


if __name__ == '__main__':
    main(int(sys.argv[1]))
