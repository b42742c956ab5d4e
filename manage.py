#!/usr/bin/env python
from nodus.manage import main

if __name__ == "__main__":
    main()
