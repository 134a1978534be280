"""Readers of the official files of VOC 2007, COCO 2014 and NUS-WIDE, and the lists made of them."""
