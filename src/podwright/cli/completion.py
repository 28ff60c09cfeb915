"""`podwright completion`: a script for a shell, made from the arguments that the commands take."""

import argparse

from podwright.cli.arguments import parser

_NAMED = {
    *("attach", "checkpoint", "exec", "inspect", "logs", "metrics", "port-forward", "rm", "start", "stats", "stop"),
    *("top", "update"),
}
"""Commands whose arguments are names of pods and containers."""

_SCRIPT = """\
# podwright completion for bash: source <(podwright completion bash)
_podwright() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in {commands}) command=$word; break;; esac
    done
    case $command in
{cases}
    *) COMPREPLY=($(compgen -W "{words}" -- "$current"));;
    esac
}}
_podwright_names() {{
    [[ $1 == -* ]] && return
    "${{COMP_WORDS[0]}}" ps -a 2>/dev/null | awk 'NR > 1 {{print $1; print $2 "/" $1}}'
    "${{COMP_WORDS[0]}}" pods 2>/dev/null | awk 'NR > 1 {{print $1}}'
}}
complete -F _podwright podwright
"""


def completion(_options: argparse.Namespace) -> int:
    """Prints the script."""
    top = parser()
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    cases = []
    for name, command in commands.choices.items():
        flags = " ".join(command._option_string_actions)  # noqa: SLF001  argparse has no other list of them
        names = ' $(_podwright_names "$current")' if name in _NAMED else ""
        files = "-f " if name == "run" else ""
        cases.append(f'    {name}) COMPREPLY=($(compgen {files}-W "{flags}{names}" -- "$current"));;')
    flags = " ".join(top._option_string_actions)  # noqa: SLF001
    names = " ".join(commands.choices)
    print(_SCRIPT.format(commands="|".join(commands.choices), cases="\n".join(cases), words=f"{names} {flags}"), end="")
    return 0
