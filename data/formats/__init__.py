"""One reader per format of the files that people and programs hand to the pipeline.

Each opens nothing but regular files, keeps to limits of size, depth and number, and tells every failure as a
`UserError` that names the file and, where there is one, the line, row or member. JSON and text, which the kernel reads
too, are in `comat_core.files`.

    json_lines      one JSON document per line
    csv_tables      rows of named cells
    yaml_files      presets and other settings
    records         JSON or YAML that has to fit a pydantic model
    parquet_tables  columns of text out of Parquet
    tar_members     members of tar archives, also compressed ones
    zip_members     one member of a zip archive
    images          pictures, as a viewer shows them
    named_files     the files that a list names below its folder
"""
