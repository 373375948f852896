"""`qmon completion SHELL`: the code that makes a shell complete qmon's words.

Owns the command's words; the code is click's, and asks qmon itself at each Tab.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from qmon.cli import output

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="Completes commands, options, names of running VMs (--vm) and files.\n\n\b\nExamples:\n"
    '  eval "$(qmon completion bash)"    # in ~/.bashrc\n'
    '  eval "$(qmon completion zsh)"     # in ~/.zshrc, after compinit\n'
    "  qmon completion fish > ~/.config/fish/completions/qmon.fish"
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the code that makes a shell complete qmon's words."""
    kind = get_completion_class(shell)
    assert kind is not None
    output.data(kind(ctx.find_root().command, {}, "qmon", "_QMON_COMPLETE").source(), harmless=True)
