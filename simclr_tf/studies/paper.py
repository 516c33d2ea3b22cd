"""The numbers of arXiv:2002.05709v3: top-1 of a linear classifier on ImageNet, in per cent.

Figures 7, 8 and 9 print no numbers; theirs are read from the bars and are exact to about 0.1.
"""

from simclr_tf.studies.plan import grid

AUGMENTATION_PAIRS = grid("""
first | crop | cutout | color | sobel | noise | blur | rotate
crop | 33.1 | 33.9 | 56.3 | 46.0 | 39.9 | 35.0 | 30.2
cutout | 32.2 | 25.6 | 33.9 | 40.0 | 26.5 | 25.2 | 22.4
color | 55.8 | 35.5 | 18.8 | 21.0 | 11.4 | 16.5 | 20.8
sobel | 46.2 | 40.6 | 20.9 | 4.0 | 9.3 | 6.2 | 4.2
noise | 38.8 | 25.8 | 7.5 | 7.6 | 9.8 | 9.8 | 9.6
blur | 35.1 | 25.2 | 16.6 | 5.8 | 9.7 | 2.6 | 6.7
rotate | 30.0 | 22.5 | 20.7 | 4.3 | 9.7 | 6.5 | 2.6
""")

COLOR_STRENGTH = grid("""
 | 1/8 | 1/4 | 1/2 | 1 | 1 + blur | AutoAugment
SimCLR | 59.6 | 61.0 | 62.6 | 63.2 | 64.5 | 61.1
supervised | 77.0 | 76.7 | 76.5 | 75.7 | 75.4 | 77.1
""")

MODEL_SIZE = grid("""
 | 1x | 2x | 4x
ResNet-18 | 50.4 | 59.5 | 65.7
ResNet-34 | 54.5 | 62.7 | 68.3
ResNet-50 | 64.5 | 69.7 | 72.8
ResNet-101 | 66.6 | 71.4 | -
ResNet-152 | 67.6 | 72.0 | -
supervised ResNet-50 | 76.5 | 77.8 | 78.4
""")

PROJECTION_HEAD = grid("""
 | 32 | 64 | 128 | 256 | 512 | 1024 | 2048
linear, h | 60.0 | 61.3 | 61.1 | 60.6 | 60.6 | 60.5 | 60.6
nonlinear, h | 63.6 | 64.2 | 64.3 | 64.9 | 64.8 | 64.6 | 64.8
none, h | - | - | - | - | - | - | 50.2
""")

WHAT_TO_PREDICT = grid("""
 | chance | h | g(h)
colour or grayscale | 80 | 99.3 | 97.4
rotation | 25 | 67.6 | 25.6
original or with noise | 50 | 99.5 | 59.6
original or Sobel | 50 | 96.6 | 56.3
""")

LOSSES = grid("""
 | top-1
margin | 50.9
NT-Logistic | 51.6
margin, semi-hard | 57.5
NT-Logistic, semi-hard | 57.9
NT-Xent | 63.9
""")

TEMPERATURE = grid("""
 | entropy, nats | contrastive accuracy | top-1
unit length, 0.05 | 1.0 | 90.5 | 59.7
unit length, 0.1 | 4.5 | 87.8 | 64.4
unit length, 0.5 | 8.2 | 68.2 | 60.7
unit length, 1 | 8.3 | 59.1 | 58.0
as it is, 10 | 0.5 | 91.7 | 57.2
as it is, 100 | 0.5 | 92.1 | 57.0
""")

BATCH_EPOCHS = grid("""
 | 100 linear | 100 sqrt | 200 linear | 200 sqrt | 400 linear | 400 sqrt | 800 linear | 800 sqrt
256 | 57.5 | 62.8 | 61.9 | 64.3 | 64.7 | 65.7 | 66.6 | 66.5
512 | 60.7 | 63.8 | 64.0 | 65.6 | 66.2 | 66.7 | 67.8 | 67.4
1024 | 62.8 | 64.3 | 65.3 | 66.1 | 67.2 | 67.2 | 68.5 | 68.3
2048 | 64.0 | 64.7 | 66.1 | 66.8 | 68.1 | 67.9 | 68.9 | 68.8
4096 | 64.6 | 64.5 | 66.5 | 66.8 | 68.2 | 68.0 | 68.9 | 69.1
8192 | 64.8 | 64.8 | 66.6 | 67.0 | 67.8 | 68.3 | 69.0 | 69.1
""")

SEMI_SUPERVISED = grid("""
 | 1 % | 10 %
supervised | 25.4 | 56.4
SimCLR, fine-tuned | 48.3 | 65.6
""")

TRANSFER = grid("""
 | food101 | cifar10 | cifar100 | birdsnap | sun397 | cars196 | fgvc_aircraft | voc2007 | dtd | pets | caltech101 | flowers102
SimCLR, linear | 68.4 | 90.6 | 71.6 | 37.4 | 58.8 | 50.3 | 50.3 | 80.5 | 74.5 | 83.6 | 90.3 | 91.2
supervised, linear | 72.3 | 93.6 | 78.3 | 53.7 | 61.9 | 66.7 | 61.0 | 82.8 | 74.9 | 91.5 | 94.5 | 94.7
""")

BROADER_AUGMENTATION = grid("""
 | ResNet-50 | ResNet-50, 2x | ResNet-50, 4x
default | 69.3 | 74.2 | 76.5
with Sobel, equalize, solarize, motion blur | 70.0 | 74.4 | 76.8
""")
