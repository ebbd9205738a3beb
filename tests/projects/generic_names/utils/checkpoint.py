from dataset import WHO


class Net:
    who = WHO
