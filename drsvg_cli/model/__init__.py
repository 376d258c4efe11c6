"""The network and the losses of the paper, Sections 3.1 to 3.3: tensors in, tensors out."""
