"""docs/requirements.md names tests that are there."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def rows():
    with open(os.path.join(ROOT, 'docs/requirements.md')) as file:
        return [line for line in file if re.match(r'\| [SD]\d', line)]


def test_every_test_that_is_named_is_there():
    for row in rows():
        source = ''
        for word in re.findall(r'`([^`]+)`', row):
            if word.startswith(('tests/', 'examples/')):
                with open(os.path.join(ROOT, word)) as file:
                    source = file.read()
            elif source and re.fullmatch(r'[a-z][a-z_0-9]+', word):
                assert re.search(r'\b%s\(' % word, source), row


def test_a_number_stands_once():
    numbers = [n for row in rows() for n in re.findall(r'[SD]\d+(?:-\d+)?', row.split('|')[1])]
    assert len(numbers) > 30 and len(numbers) == len(set(numbers))
