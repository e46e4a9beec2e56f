print("lyra")
