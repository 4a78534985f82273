"""Every command, in the order in which an operator meets them."""

from papertape.cli.add import add
from papertape.cli.app import papertape, run
from papertape.cli.bridge import bridge
from papertape.cli.demo import demo
from papertape.cli.doctor import doctor
from papertape.cli.dump import dump, plan, recover
from papertape.cli.explain import explain
from papertape.cli.find import find
from papertape.cli.init import init
from papertape.cli.library import library
from papertape.cli.recopy import recopy
from papertape.cli.restore import restore
from papertape.cli.status import status
from papertape.cli.testdata import testdata
from papertape.cli.verify import verify
from papertape.cli.volumes import volumes

for _command in (
    init,
    doctor,
    add,
    plan,
    dump,
    verify,
    recover,
    status,
    find,
    explain,
    restore,
    recopy,
    volumes,
    library,
    bridge,
    testdata,
    demo,
):
    papertape.add_command(_command)

__all__ = ["papertape", "run"]
