"""The contract of Podwright's own service beside the CRI (v1.proto). Owns no behaviour."""
