"""Rounds, medians, lines. Ours and theirs take turns, so that whatever else the machine does
meets both; the figure is the ratio of the medians, never an absolute number."""
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.path.join(ROOT, 'build-release')


def build():
    """A release build with the measuring programs."""
    subprocess.run([os.path.join(ROOT, 'tools', 'install'), 'build', 'bench'], check=True)
    if not os.path.exists(os.path.join(BUILD, 'build.ninja')):
        subprocess.run(['meson', 'setup', BUILD, ROOT, '--buildtype=release', '-Dbench=true'],
                       check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['ninja', '-C', BUILD], check=True, stdout=sys.stderr)


def program(name):
    return os.path.join(BUILD, 'bench', 'bench-' + name)


def call(command, cpu=None):
    """Runs a measuring program; returns the numbers that it prints."""
    pinned = ['taskset', '-c', str(cpu)] if cpu is not None else []
    done = subprocess.run(pinned + [str(word) for word in command], text=True,
                          stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit('%s failed' % ' '.join(map(str, command)))
    return [float(word) for word in done.stdout.split()]


def alternate(rounds, *sides):
    """Each side once a round, in an order that turns; returns the median of each."""
    results = [[] for _ in sides]
    for turn in range(rounds):
        for step in range(len(sides)):
            side = (turn + step) % len(sides)
            results[side].append(sides[side](turn))
    return [middle(values) for values in results]


def middle(values):
    return statistics.median(values)


class Folder:
    """A folder on a disk (not in memory), gone afterwards."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='polystore-bench-', dir='/var/tmp')
        os.chmod(self.path, 0o755)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Figures:
    """The lines of one run: printed as they come, and kept in bench/results/NAME.txt."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.load = os.getloadavg()[0]

    def add(self, name, ours, peer=None, least=None, most=None):
        """A goal is on the ratio where there is a peer, and on our own number where not."""
        value = ours if peer is None else ours / peer
        words = [name, 'ours=%.6g' % ours]
        if peer is not None:
            words += ['peer=%.6g' % peer, 'ratio=%.2f' % value]
        if least is not None:
            words += ['goal>=%g' % least, 'met' if value >= least else 'short']
        elif most is not None:
            words += ['goal<=%g' % most, 'met' if value <= most else 'short']
        self.lines.append(' '.join(words))
        print(self.lines[-1], flush=True)

    def note(self, text):
        """What is no figure, but belongs to them."""
        self.lines.append('# ' + text)
        print(self.lines[-1], flush=True)

    def keep(self):
        folder = os.path.join(ROOT, 'bench', 'results')
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, self.name + '.txt'), 'w') as file:
            file.write('# %s\n# commit %s\n# load %.2f before, %.2f after\n'
                       % (machine(), commit(), self.load, os.getloadavg()[0]))
            file.write('\n'.join(self.lines) + '\n')


def machine():
    model = 'unknown processor'
    with open('/proc/cpuinfo') as file:
        for line in file:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return '%s, %d cpus, %.0f GiB, %s %s' % (model, os.cpu_count(), pages / 2**30,
                                            platform.system(), platform.release())


def commit():
    def git(*words):
        return subprocess.run(['git', '-C', ROOT] + list(words), text=True,
                              capture_output=True).stdout.strip()
    return (git('rev-parse', '--short', 'HEAD') or 'unknown') + \
        (' with changes' if git('status', '--porcelain', '--', 'src', 'include', 'bench/*.c')
         else '')


def progress(text):
    print('# ' + text, file=sys.stderr, flush=True)
