"""`fax-gateway` and `python -m gateway`: the command line."""

from __future__ import annotations


def main() -> None:
    """Run one verb; imports stay inside so that the limited child never pays for them."""
    from gateway.cli import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    main()
