"""The studies that come with thetadot, each a YAML file here: `from thetadot.studies.bundled import
quickstart`."""


def __getattr__(name: str):
    from thetadot.studies.study import Study, bundled_names

    if name in bundled_names():
        return Study.load(name)
    raise AttributeError(f"thetadot has no bundled study {name!r}; it has {', '.join(bundled_names())}")
