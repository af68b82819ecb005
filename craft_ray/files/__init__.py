"""Files that are whole or not there: on a disk (`whole_files`) or an object store (`remote`)."""
