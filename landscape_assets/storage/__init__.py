"""What an export keeps on disk besides its package: Arrow files between the stages, work folders, names of folders.

Belongs here: files and folders, whatever is in them. Does not belong here: what the files mean.
"""
