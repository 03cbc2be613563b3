"""What stands in a rendered room; the numbers are the labels of the segmentation."""

CLASSES = ("wall", "floor", "ceiling", "bed", "cabinet", "table", "chair", "lamp", "rug", "picture")
NUMBER = {name: number for number, name in enumerate(CLASSES)}
VOID = -1
