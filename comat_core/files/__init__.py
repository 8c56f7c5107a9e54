"""Files that others wrote: opened only if they are files, parsed within limits, every failure told in one line.

Here is what the kernel itself reads, JSON and text. The formats of data sets, presets and records are in
`data.formats`; images have a reader of their own.
"""
