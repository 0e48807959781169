"""The one command: each group is imported when it is called, so that an end needs its own packages only.

Exit status: 0 done; 1 it ran and the finding is bad; 2 wrong use or configuration.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence

import click

from comity.cli.plain import clean_lines

# gRPC's own lines on standard error would stand before ours, which say the same for a person.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# TLS 1.3 alone, at every listener and wherever one is dialled. gRPC has no switch for it; but a handshake of
# TLS 1.2 needs a cipher, and the one that is left needs an RSA key, which no leaf here can have.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "AES256-GCM-SHA384"

_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    # name: module, attribute, one line for the overview
    "demo": ("comity.cli.demo", "command", "Run the demonstration federation end to end."),
    "query": ("comity.cli.query", "command", "Ask about one plate through your agency's gateway."),
    "federation": ("comity.cli.federation", "group", "The governing authority: init, admit, refresh."),
    "agency": ("comity.cli.agency", "group", "An agency: keys, users, client systems, assertions."),
    "certs": ("comity.cli.certs", "group", "Certificates and keys: what there is, and what is due."),
    "agreement": ("comity.cli.agreement", "group", "Agreements: draft, sign, accept, lodge, show."),
    "broker": ("comity.cli.serve", "broker", "The broker's process."),
    "adapter": ("comity.cli.adapter", "group", "The provider's process and its stores."),
    "gateway": ("comity.cli.serve", "gateway", "The requester's process."),
    "policy": ("comity.cli.policy", "group", "Policy bundles: check, test, explain, sign, activate."),
    "hotlist": ("comity.cli.hotlist", "group", "Hot lists: check by the house rules, record, show."),
    "audit": ("comity.cli.audit", "group", "Signed logs: verify and show."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module_name, attribute, _ = entry
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("comity"):
                raise
            raise click.ClickException(
                f"`comity {cmd_name}` needs the package `{error.name}`, which is not installed here; "
                "install the role's extra, for example `pip install 'comity[all]'`"
            ) from error
        command: click.Command = getattr(module, attribute)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what an error tells of others' documents is shown without control characters."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error).update(message=clean_lines(error.message))
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], list(_COMMANDS), n=1)
            if near:
                raise click.UsageError(
                    f"no such command `{args[0]}`; did you mean `{near[0]}`?", ctx
                ) from error
            raise


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: comity demo --dir /tmp/federation",
)
@click.version_option(package_name="comity")
def cli() -> None:
    """Agencies ask each other about a plate: each decides for its own data, both ends keep evidence."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; click gives exit status 2 on wrong use."""
    cli.main(args=list(arguments) if arguments is not None else None, prog_name="comity")


if __name__ == "__main__":
    main()
