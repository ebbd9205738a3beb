def who():
    return "not patched"
