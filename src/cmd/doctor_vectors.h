/*
 * The doctor's look at vector indexes.
 */
#ifndef CMD_DOCTOR_VECTORS_H
#define CMD_DOCTOR_VECTORS_H

#include "doctor/doctor.h"
#include "store/store.h"

/** Opens every index for reading, from its snapshot and its log; `quick`: only lists them. */
void doctor_vectors(const struct doctor *doctor, struct store *store);

#endif
