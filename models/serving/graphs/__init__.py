"""The networks as OpenVINO graphs, made of the tensors in a weights file: what ``models`` has in torch, without torch.

Every graph takes and gives arrays in NumPy's terms; tests hold each to torch's network, for every form that it has.
"""
