"""The CRI contract: messages and enums (v1), and the table of RPCs (methods). Owns no behaviour."""
