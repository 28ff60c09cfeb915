"""What a kubelet's cAdvisor asks of a runtime, in containerd's words (v1.proto). Owns no behaviour."""
