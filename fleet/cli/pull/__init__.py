"""`fleet pull`: the transfer engine as a downloader, on any machine and without a fleet."""
