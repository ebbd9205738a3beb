from utils import WHO
