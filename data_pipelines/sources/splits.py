"""Who is held out of each public set: the test identities, by name.

Where a set's authors published a split it is theirs; else it is stated here
once and for all, so that every user of this project tests on the same people.
"""


def _names(text: str) -> frozenset[str]:
  return frozenset(text.split())


# The 118 rows of `vox2_meta.csv` (official, beside the archives) whose column
# Set says test; the other 5,994 speakers are "dev".
VOXCELEB2 = _names(
  """
  id00017 id00061 id00081 id00154 id00419 id00562 id00812 id00817
  id00866 id00926 id01000 id01041 id01066 id01106 id01224 id01228
  id01298 id01333 id01437 id01460 id01509 id01541 id01567 id01593
  id01618 id01822 id01892 id01989 id02019 id02057 id02086 id02181
  id02286 id02317 id02445 id02465 id02542 id02548 id02576 id02577
  id02685 id02725 id02745 id03030 id03041 id03127 id03178 id03347
  id03382 id03524 id03677 id03789 id03839 id03862 id03969 id03978
  id03980 id03981 id04006 id04030 id04094 id04119 id04232 id04253
  id04276 id04295 id04366 id04478 id04536 id04570 id04627 id04656
  id04657 id04862 id04950 id05015 id05055 id05124 id05176 id05202
  id05459 id05594 id05654 id05714 id05816 id05850 id05999 id06104
  id06209 id06310 id06484 id06692 id06811 id06816 id06913 id07312
  id07354 id07396 id07414 id07426 id07494 id07620 id07621 id07663
  id07802 id07868 id07874 id07961 id08149 id08374 id08392 id08456
  id08548 id08552 id08696 id08701 id08911 id09017
  """
)

# Four actors, as the evaluations of EAT (github.com/yuangan/EAT_code) and
# EDTalk (github.com/tanshuai0219/EDTalk) have them; MEAD's authors gave none.
MEAD = frozenset(("M003", "M030", "W009", "W015"))

# The authors gave no split (CheyneyComputerScience/CREMA-D, issue 10). Ours:
# every seventh actor, 13 of 91. By `VideoDemographics.csv` these are 8 women
# and 5 men of 20 to 57 years.
CREMA_D = frozenset(str(actor) for actor in range(1007, 1092, 7))

# No official split, and test lists of papers differ. Ours: a tenth of the 218
# people of the lists WDA and WRA, those whose names have the smallest SHA-256
# of "hdtf:NAME". The speakers of the list RD (Radio1 and so on) are not named,
# and are often Barack Obama: he and all of RD are trained on.
HDTF = _names(
  """
  BenRayLujn BernieSanders CandiceMiller ChrisCoons ChrisVanHollen
  ChuckSchumer DanNewhouse DebFischer EliotEngel EricSwalwell FredUpton
  JackReed JackieSpeier JackyRosen JimInhofe JohnBoozman JonTester
  KatherineClark MarthaRoby PeteHoekstra RogerWicker ToddYoung
  """
)
