"""``python -m geoservice`` is the ``geoservice`` command."""

from geoservice.cli import main

if __name__ == "__main__":
    main()
