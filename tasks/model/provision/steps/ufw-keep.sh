# What was there before, complete or not at all: the undo does nothing without it, for then nothing has been changed yet.
cp -a /etc/ufw "$ARMED/ufw.part"
cp -a /etc/default/ufw "$ARMED/ufw.part/default"
mv "$ARMED/ufw.part" "$ARMED/ufw"
