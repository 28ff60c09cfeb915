"""The Node Resource Interface: plugins that are told of the life of pods, and may change containers (docs/nri.md)."""
