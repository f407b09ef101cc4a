"""The app with all its verbs: each module registers its own when it is imported."""

from gandist.cli import augment as augment
from gandist.cli import configs as configs
from gandist.cli import data as data
from gandist.cli import interpret as interpret
from gandist.cli import jobs as jobs
from gandist.cli import pages as pages
from gandist.cli import plugins as plugins
from gandist.cli import run as run
from gandist.cli import sweep as sweep
from gandist.cli import translate as translate
from gandist.cli import using as using
from gandist.cli.app import app as app
