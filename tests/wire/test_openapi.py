"""Requests made up from /openapi.json: no crash, no 500, and answers as the document says."""
import os
import shutil
import subprocess
import sys

import pytest

EXAMPLES = '100' if 'POLY_TEST_LONG' in os.environ else '5'  # of each operation
HERE = os.path.dirname(os.path.abspath(__file__))


def schemathesis():
    """The command, installed into a virtual environment of its own; None: it cannot be."""
    folder = os.environ.get('POLYSTORE_VENV', os.path.join(os.path.expanduser('~'), '.cache',
                                                           'polystore-venv'))
    for name in ('st', 'schemathesis'):
        if os.path.exists(os.path.join(folder, 'bin', name)):
            return os.path.join(folder, 'bin', name), ''
        if shutil.which(name):
            return shutil.which(name), ''
    made = subprocess.run([sys.executable, '-m', 'venv', folder], capture_output=True, text=True)
    if made.returncode != 0:
        return None, 'no virtual environment can be made'
    got = subprocess.run([os.path.join(folder, 'bin', 'pip'), 'install', '-q', '--retries', '1',
                          '--timeout', '15', 'schemathesis'], capture_output=True, text=True,
                         timeout=240)
    if got.returncode != 0:
        return None, (got.stderr.strip().split('\n') or [''])[-1][:200]
    return os.path.join(folder, 'bin', 'st'), ''


def test_openapi_driven(daemon):
    command, reason = schemathesis()
    if command is None:
        print('skipped: schemathesis (%s)' % reason)
        pytest.skip('schemathesis (%s)' % reason)
    result = subprocess.run(
        [command, 'run', daemon.url + '/openapi.json', '-H', 'Authorization: Bearer ' + daemon.key,
         '--checks', 'not_a_server_error,content_type_conformance,response_schema_conformance',
         '--exclude-path-regex', 'subscri|/v1/keys|/v1/migrations|/v1/log/import',
         '--max-examples', EXAMPLES, '--seed', '1'],
        capture_output=True, text=True, timeout=3600, cwd=daemon.folder)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert daemon.get('/live').status_code == 200
