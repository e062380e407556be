"""The next version's command; its workers, which a server spawns, import this module too."""

from parts.next_version import become, take_kind

become(take_kind())

if __name__ == "__main__":
    from clouddesktop.cli.main import main

    main()
