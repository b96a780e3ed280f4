"""Labels that lie beside images: tables, COCO, YOLO, ImageNet's development kit."""
