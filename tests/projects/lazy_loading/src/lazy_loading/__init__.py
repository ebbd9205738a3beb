import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["late"], submod_attrs={"deep.leaf": ["Leaf"], "nodes": ["Lazy"]}
)
