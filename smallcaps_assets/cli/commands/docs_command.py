"""`smallcaps docs`: the documents in the terminal, as the checkout or the wheel brought them."""

import click
from rich.markdown import Markdown
from rich.table import Table

from smallcaps_assets.cli.pages.installed import find_folder, list_pages, read_page
from smallcaps_assets.cli.screens.terminal import open_console


@click.command("docs")
@click.argument("page", required=False)
@click.argument("section", required=False)
def command(page: str | None, section: str | None) -> None:
    """Show a page of the documents, or one section of it; without PAGE, list the pages.

    For example: smallcaps docs operations full-disk
    """
    console = open_console()
    if page is None:
        pages = Table("page", "what it is", title=f"documents in {find_folder()}")
        for name, title in list_pages().items():
            pages.add_row(name, title)
        console.print(pages)
        return
    text = read_page(page, section)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        click.echo(text, nl=False)
