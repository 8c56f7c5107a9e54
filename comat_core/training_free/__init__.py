"""Ways to make a UNet follow its prompts without training: what Table 1 of the CoMat paper compares with."""
